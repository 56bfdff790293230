"""Pictures of detectors from the files of any program: one reader for whoever looks at them."""

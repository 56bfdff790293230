"""JEOL microscopes through TEMCOM."""

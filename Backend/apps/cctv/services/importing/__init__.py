"""The import: finds recorded files below the media root and makes recordings of them."""

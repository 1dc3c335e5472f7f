"""Converting indexes and encoders from and to other formats: that of the authors of JPQ, and plain faiss."""

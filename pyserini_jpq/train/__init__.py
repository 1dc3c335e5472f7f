"""Training: query encoder and centroids together, against the index that is being trained."""

"""What JPQ is compared with: one engine's library a file, all by name in `registry`."""

"""From an address to a file or folder: downloads that resume, checksums, archives unpacked safely."""

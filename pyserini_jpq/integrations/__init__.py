"""JPQ in the frameworks people build with: one module each, which imports its framework when it is imported itself."""

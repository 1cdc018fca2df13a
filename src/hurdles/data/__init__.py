"""From files to tables and pixels: manifests, decoding, collections, splits, the cache."""

"""The pictures, videos and sounds that guide a clip, as every backend gets them."""

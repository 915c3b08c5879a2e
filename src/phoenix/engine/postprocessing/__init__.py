"""Changes the frames of a clip after its model: ONNX models enlarge them, and make the frames between them."""

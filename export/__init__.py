"""From a PyTorch checkpoint to verified int8 and fp32 files for LiteRT and ONNX Runtime."""

"""What was predicted, what came true, and whether the model still holds."""

"""Networks that cost the same, brought there in several ways, and set side by side."""

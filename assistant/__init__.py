"""The one door to language models: who may ask which model what, how much, and when not."""

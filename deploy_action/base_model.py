"""The model as it was at a git ref: taken out of `.git`, checked and packed as the candidate is."""

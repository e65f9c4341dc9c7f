"""Texts and numbers, without any knowledge of Blankly."""

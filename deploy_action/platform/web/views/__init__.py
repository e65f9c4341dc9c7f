"""What each page shows: a view reads the store, and answers with a template and its values."""

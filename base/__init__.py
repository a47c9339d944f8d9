"""What all folders share: sizes and durations, errors, messages, gettext, logging and the state folder's layout."""

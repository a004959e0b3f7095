"""How days and hours are written in each language, where Django does it otherwise (FORMAT_MODULE_PATH)."""

"""WHAT HAPPENED: the experiment's folder, its epochs on disk and its Optuna study."""

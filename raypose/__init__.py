"""raypose finds the best way to fine-tune RTMPose: Optuna decides, Ray runs, MMEngine trains, MLflow remembers."""

"""WHAT IS KEPT: MLflow as a mirror of the record, and its UI. Runs in: driver, command line."""

import os

# MLflow reads these when it is imported, so they must stand before any module here does that.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
# "View run at ..." for every finished run would break the live table of trials.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# raypose logs plain files; of a model that somebody else logged there, MLflow shall not run what it holds.
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
# A mirror that fails is tried again later; with MLflow's own seven retries an outage would go unnoticed for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

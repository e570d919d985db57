"""WHAT MAY VARY: a YAML file becomes a checked, frozen Experiment; a sampler draws Trials from it."""

from raypose.space.domain import Choice, Domain
from raypose.space.load import load_spec, parse_spec
from raypose.space.ranges import Range
from raypose.space.schema import Experiment
from raypose.space.trial import Trial

__all__ = ["Choice", "Domain", "Experiment", "Range", "Trial", "load_spec", "parse_spec"]

"""One request through admission, scheduling, routing, a transport and the meter: the only room that sees them all."""

from penstock.serving.pipeline.assembly import PipelineOptions, Surroundings, assemble
from penstock.serving.pipeline.collaborators import Collaborators, Observer, PipelineRules
from penstock.serving.pipeline.pipeline import Pipeline

__all__ = ["Collaborators", "Observer", "Pipeline", "PipelineOptions", "PipelineRules", "Surroundings", "assemble"]

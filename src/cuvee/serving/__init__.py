"""An ensemble as a service: JSON over HTTP, members that come and go while it answers."""

from cuvee.serving.application import make_application
from cuvee.serving.limits import Limits
from cuvee.serving.service import Service

__all__ = ["Limits", "Service", "make_application"]

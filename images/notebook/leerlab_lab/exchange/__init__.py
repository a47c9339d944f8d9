"""nbgrader's exchange over the grading service: the plugin classes to name in `ExchangeFactory`'s settings."""

from leerlab_lab.exchange.base import ServiceExchange
from leerlab_lab.exchange.collect import ServiceCollect
from leerlab_lab.exchange.feedback import ServiceFetchFeedback, ServiceReleaseFeedback
from leerlab_lab.exchange.fetch import ServiceFetchAssignment
from leerlab_lab.exchange.list import ServiceList
from leerlab_lab.exchange.release import ServiceReleaseAssignment
from leerlab_lab.exchange.submit import ServiceSubmit

__all__ = [
    "ServiceCollect",
    "ServiceExchange",
    "ServiceFetchAssignment",
    "ServiceFetchFeedback",
    "ServiceList",
    "ServiceReleaseAssignment",
    "ServiceReleaseFeedback",
    "ServiceSubmit",
]

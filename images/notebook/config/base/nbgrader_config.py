# nbgrader in every lab: the exchange is Leerlab's grading service, one folder per course.
from leerlab_lab.exchange import (
    ServiceCollect,
    ServiceExchange,
    ServiceFetchAssignment,
    ServiceFetchFeedback,
    ServiceList,
    ServiceReleaseAssignment,
    ServiceReleaseFeedback,
    ServiceSubmit,
)

c = get_config()  # noqa: F821
c.Exchange.path_includes_course = True
c.ExchangeFactory.exchange = ServiceExchange
c.ExchangeFactory.list = ServiceList
c.ExchangeFactory.fetch_assignment = ServiceFetchAssignment
c.ExchangeFactory.fetch_feedback = ServiceFetchFeedback
c.ExchangeFactory.submit = ServiceSubmit
c.ExchangeFactory.collect = ServiceCollect
c.ExchangeFactory.release_assignment = ServiceReleaseAssignment
c.ExchangeFactory.release_feedback = ServiceReleaseFeedback

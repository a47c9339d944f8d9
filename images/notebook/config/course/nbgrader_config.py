# nbgrader in a course's formgrader. The course's own file in the course folder adds its id.
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
from leerlab_lab.feedback import NOTEBOOKS, FeedbackPages, HideHiddenTests
from leerlab_lab.late import LatePenalties
from leerlab_lab.preprocessors import WalledExecute
from leerlab_lab.restoring import OneOfEach, RestoreCells
from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    GetGrades,
    IgnorePattern,
    IncludeHeaderFooter,
    LimitOutput,
    LockCells,
    OverwriteKernelspec,
    SaveAutoGrades,
    SaveCells,
)

c = get_config()  # noqa: F821
c.ExchangeFactory.exchange = ServiceExchange
c.ExchangeFactory.list = ServiceList
c.ExchangeFactory.fetch_assignment = ServiceFetchAssignment
c.ExchangeFactory.fetch_feedback = ServiceFetchFeedback
c.ExchangeFactory.submit = ServiceSubmit
c.ExchangeFactory.collect = ServiceCollect
c.ExchangeFactory.release_assignment = ServiceReleaseAssignment
c.ExchangeFactory.release_feedback = ServiceReleaseFeedback
# In the place of nbgrader's DeduplicateIds and OverwriteCells: see leerlab_lab.restoring.
c.Autograde.sanitize_preprocessors = [ClearOutput, OneOfEach, OverwriteKernelspec, RestoreCells, CheckCellMetadata]
# The student's code runs in a job behind a wall; the trusted steps stay here.
c.Autograde.autograde_preprocessors = [
    WalledExecute,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    SaveAutoGrades,
    LatePenalties,
    CheckCellMetadata,
]
# Without InstantiateTests, which would start a kernel next to the gradebook.
c.GenerateAssignment.preprocessors = [
    IncludeHeaderFooter,
    LockCells,
    ClearSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    CheckCellMetadata,
]
# Texts and outputs that students wrote are shown without scripts.
c.HTMLExporter.sanitize_html = True
# No sign for a link behind each heading.
c.HTMLExporter.exclude_anchor_links = True
c.GenerateFeedback.exporter_class = FeedbackPages
c.FeedbackPages.template_name = "feedback"
c.FeedbackPages.extra_template_basedirs = [str(NOTEBOOKS)]
c.GenerateFeedback.preprocessors = [GetGrades, HideHiddenTests, CSSHTMLHeaderPreprocessor]
c.FormgradeExtension.debug = False
# What students find where the answer was: in Dutch, the language of our courses.
c.ClearSolutions.code_stub = {"python": "# TYP HIER JE CODE\nraise NotImplementedError('Vul deze cel nog in.')"}
c.ClearSolutions.text_stub = "TYP HIER JE ANTWOORD"

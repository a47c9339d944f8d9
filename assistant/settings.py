"""The section `assistant:` of site.yaml: which models there are, and where people may ask them."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from base.quantities import Duration
from base.settings import BothLanguages, Section

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class LocalModel(Section):
    """A model of the catalogue, run as a job of this cluster while somebody asks it something."""

    kind: Literal["local"] = Field(description="Run here.")
    id: Identifier = Field(description="Its id in the catalogue.", examples=["smollm2-135m"])


class RemoteModel(Section):
    """A model that something else serves with OpenAI's API, such as vLLM on the facility."""

    kind: Literal["remote"] = Field(description="Served elsewhere.")
    id: Identifier = Field(description="What people ask for.")
    title: BothLanguages = Field(description="What it is called.")
    does: Literal["chat", "embeddings"] = Field(description="What it is asked for.")
    url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=300, description="Where its API is, `/v1` included."
    )
    name: str = Field(min_length=1, max_length=200, description="What its server calls it.")
    key_file: str | None = Field(
        None, max_length=300, description="File with the key for that server; without it none is sent."
    )


Model = Annotated[LocalModel | RemoteModel, Field(discriminator="kind")]


class PolicySettings(Section):
    """What people may ask in one course, or in every sandbox."""

    models: tuple[Identifier, ...] = Field(min_length=1, max_length=20, description="Models that may be asked.")
    tokens_per_hour: int = Field(
        ge=100, le=10**9, description="Most tokens of one person in an hour, questions and answers together."
    )


class AssistantSettings(Section):
    """The assistant: a language model that people may ask where a policy says so. What has no policy is off."""

    models: tuple[Model, ...] = Field(min_length=1, max_length=20, description="All models of the site.")
    profile: str = Field(description="Profile of the job that runs a local model.")
    idle: Annotated[Duration, Ge(Duration(seconds=10)), Le(Duration(days=1))] = Field(
        Duration(minutes=10), description="How long a local model stays when nobody asks it anything."
    )
    answer: int = Field(512, ge=16, le=8192, description="Most tokens of one answer.")
    at_once: int = Field(4, ge=1, le=256, description="Questions that one model answers at the same time.")
    watts_per_core: float = Field(
        12.0,
        gt=0,
        le=200,
        description="Power of one busy processor core, for the energy that an answer is said to take.",
    )
    courses: dict[Identifier, PolicySettings] = Field(
        {}, description="Policy of each course where it is on, by the course's id."
    )
    sandboxes: PolicySettings | None = Field(
        None, description="Policy of every sandbox; without it the assistant is off there."
    )

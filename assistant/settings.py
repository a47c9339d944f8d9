"""The section `assistant:` of site.yaml: which language models there are, and who may ask them how much."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from base.energy import WATTS_PER_CORE
from base.quantities import Duration
from base.settings import BothLanguages, Section
from courses.settings import Identifier

ModelId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{1,60}$")]


class Policy(Section):
    """What may be asked in a course, or in sandboxes."""

    models: tuple[ModelId, ...] = Field(
        min_length=1, max_length=50, description="Ids of `assistant.models` that may be asked; others may not."
    )
    tokens_per_hour: int = Field(
        ge=100, le=10_000_000, description="Tokens, of question and answer together, for one person in any hour."
    )


class LocalModel(Section):
    """A small model of the catalogue, run as a Slurm job while somebody asks it."""

    kind: Literal["local"] = Field(description="`local`: of the catalogue, on this site's own machines.")
    id: ModelId = Field(description="The catalogue's id; people ask for the model by this name.")
    title: BothLanguages = Field(description="What people read.")
    profile: str | None = Field(None, description="Profile of its job; left out: `assistant.profile`.")
    context: int = Field(4096, ge=512, le=131_072, description="Most tokens of question and answer together.")
    at_once: int = Field(2, ge=1, le=64, description="Questions that it answers at one time; the next ones wait.")
    watts_per_core: float = Field(
        WATTS_PER_CORE,
        gt=0,
        le=100,
        description="Power of one busy processor core with its share of the machine, in watts.",
    )


class RemoteModel(Section):
    """A model behind an OpenAI-compatible address, such as vLLM on the facility's GPUs."""

    kind: Literal["remote"] = Field(description="`remote`: behind an address of the facility's own.")
    id: ModelId = Field(description="People ask for the model by this name.")
    title: BothLanguages = Field(description="What people read.")
    does: Literal["chat", "embeddings"] = Field("chat", description="What it is asked for.")
    address: str = Field(
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?$",
        max_length=300,
        description="Where it is, up to and with `/v1`.",
    )
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,120}$", description="What it is called at that address.")
    key_file: str | None = Field(None, description="File of mode 600 with the key on one line; absolute.")
    context: int = Field(8192, ge=512, le=2_000_000, description="Most tokens of question and answer together.")
    at_once: int = Field(32, ge=1, le=1024, description="Questions that it answers at one time; the next ones wait.")
    joules_per_token: float | None = Field(
        None, gt=0, le=10_000, description="Energy of one token, as measured by the facility; left out: unknown."
    )


Model = Annotated[LocalModel | RemoteModel, Field(discriminator="kind")]


class AssistantSettings(Section):
    """The language models, and what may be asked of them. What is not named is off."""

    models: tuple[Model, ...] = Field(min_length=1, max_length=50, description="The models of this site.")
    profile: str = Field("cpu-small", description="Profile of the job of a local model.")
    idle: Annotated[Duration, Ge(Duration(seconds=10)), Le(Duration(days=1))] = Field(
        default=Duration(minutes=10), description="A local model that nobody asks for so long ends."
    )
    keep: Annotated[Duration, Ge(Duration(days=1)), Le(Duration(days=400))] = Field(
        default=Duration(days=90), description="How long the ledger keeps who asked which model when, and how much."
    )
    courses: dict[Identifier, Policy] = Field(
        default={}, description="Policy of each course, by its id; a course that is not named has no assistant."
    )
    sandboxes: Policy | None = Field(None, description="Policy of all sandboxes; left out: none has an assistant.")

    @model_validator(mode="after")
    def _known_models(self) -> AssistantSettings:
        known = [model.id for model in self.models]
        for one in known:
            if known.count(one) > 1:
                raise ValueError(f"the model {one} is there twice (allowed: each once)")
        policies = [*self.courses.items(), *([("sandboxes", self.sandboxes)] if self.sandboxes else [])]
        for place, policy in policies:
            for one in policy.models:
                if one not in known:
                    raise ValueError(f"{place} names a model that is not there: {one} (allowed: {', '.join(known)})")
        return self

    def model(self, wanted: str) -> LocalModel | RemoteModel | None:
        """The model of that id, or None."""
        return next((model for model in self.models if model.id == wanted), None)

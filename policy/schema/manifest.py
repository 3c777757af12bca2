"""tollhouse.yaml: the list of files that make up a policy set."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from policy.schema.base import Boolean, FileModel, Text


class DescriptorReading(FileModel):
    """How the files of `descriptors/` are read."""

    compat: Literal["envoyproxy"] | None = Field(
        default=None, description="Read and count them as envoyproxy/ratelimit does, its surprises included."
    )
    merge_domains: Boolean = Field(default=False, description="Several files may add to one domain.")


class Manifest(FileModel):
    """Names every file of the set, so that a deleted file is an error and not a lost quota."""

    version: Literal["1"] = Field(description="Format of the policy set.")
    files: tuple[Text, ...] = Field(min_length=1, description="Every file, relative to this one.")
    descriptors: DescriptorReading = Field(
        default=DescriptorReading(), description="How the files of `descriptors/` are read."
    )

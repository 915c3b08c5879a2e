"""RFC 9457: the one shape of every answer that is not 2xx."""

from pydantic import Field

from phoenix.contract.base import View
from phoenix.errors import ProblemCode

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemFault(View):
    pointer: str = Field(description="RFC 6901, into the body.", examples=["/clips/0/prompt"])
    detail: str


class Problem(View):
    type: str = Field(examples=["https://phoenix.invalid/problems/invalid-request"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: ProblemCode
    request_id: str
    errors: list[ProblemFault] = Field(default_factory=list[ProblemFault])
    violated_policies: list[str] = Field(
        default_factory=list[str],
        serialization_alias="violated-policies",
        description="Names of the limits that are used up, as in `RateLimit-Policy`.",
    )

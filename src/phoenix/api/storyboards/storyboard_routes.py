"""Routes of storyboards: make, refine, try again, show, list, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.openapi.models import Example

from phoenix.api.dependencies import AppStateDep, AuthFirstRoute, DatabaseDep, OwnerDep
from phoenix.api.http.declarations import PAGE_LISTED, PageCursor, Responses, StoryboardIdInPath, link_next_page
from phoenix.api.storyboards.desk import DeskDep, ReadingDeskDep
from phoenix.contract import PageLimit, Storyboard, StoryboardMessageRequest, StoryboardPage, StoryboardRequest
from phoenix.storyboards import repository

router = APIRouter(tags=["storyboards"], route_class=AuthFirstRoute)

_IDEAS: dict[str, Example] = {
    "an idea": {"value": {"idea": "A red balloon leaves a harbour at dawn and finds the sea."}},
    "everything": {
        "value": {
            "idea": "Mia finds a lost balloon. Then she lets it fly from the pier.",
            "model": "animatic",
            "num_clips": 4,
            "duration_s": 3,
            "aspect_ratio": "9:16",
            "style": "watercolour, soft morning light",
            "characters": [{"name": "Mia", "description": "a girl of eight with a yellow raincoat and red boots"}],
            "caption": True,
            "planner": "template",
        }
    },
}
_WISHES: dict[str, Example] = {"a wish": {"value": {"text": "Make the last clip happen at night."}}}

_EVENTS = {"text/event-stream": {"schema": {"$ref": "#/components/schemas/StoryboardEvent"}}}
_SHOWN = {"application/json": {"schema": {"$ref": "#/components/schemas/Storyboard"}}}
_FOLLOWED: Responses = {200: {"description": "The storyboard, or its stream if accepted.", "content": _SHOWN | _EVENTS}}
_CREATED: Responses = {
    201: {
        "description": "Stored, whether or not it could be written: see `state` and `error`.",
        "content": _SHOWN | _EVENTS,
        "headers": {
            "Location": {"description": "Path of the storyboard.", "schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true` if an earlier request with this key made it.",
                "schema": {"type": "string"},
            },
        },
    }
}


@router.post("/v1/storyboards", status_code=201, response_model=Storyboard, responses=_CREATED)
async def create_storyboard(
    body: Annotated[StoryboardRequest, Body(openapi_examples=_IDEAS)], desk: DeskDep
) -> Response:
    """Turn an idea into a storyboard.

    A language model, or a template where the server has none, writes a reel request: `reel` can be posted to
    `/v1/reels` as it is. The response comes when it is written; with `Accept: text/event-stream`, while it is written.
    A storyboard that could not be written is kept, with its `error`. A language model stops when the client leaves.
    """
    return await desk.create(body)


@router.post("/v1/storyboards/{storyboard_id}/messages", response_model=Storyboard, responses=_FOLLOWED)
async def refine_storyboard(
    storyboard_id: StoryboardIdInPath,
    body: Annotated[StoryboardMessageRequest, Body(openapi_examples=_WISHES)],
    desk: DeskDep,
) -> Response:
    """Refine a storyboard.

    It is written again with the wish, and answered like a new one. Clips whose prompts stay keep their seeds, so that
    their files are reused. `reel` may hold the reel as you have changed it yourself. 409 while it is being written.
    """
    return await desk.change(storyboard_id, body)


@router.post("/v1/storyboards/{storyboard_id}/retry", response_model=Storyboard, responses=_FOLLOWED)
async def retry_storyboard(storyboard_id: StoryboardIdInPath, desk: DeskDep) -> Response:
    """Try a failed storyboard again.

    With the same messages, and answered like a new one. 409 unless it has failed with an error that is `retriable`.
    """
    return await desk.change(storyboard_id, None)


@router.head("/v1/storyboards/{storyboard_id}", include_in_schema=False)
@router.get("/v1/storyboards/{storyboard_id}", response_model=Storyboard, responses=_FOLLOWED)
async def get_storyboard(storyboard_id: StoryboardIdInPath, desk: ReadingDeskDep) -> Response:
    """Show a storyboard.

    As it is now. With `Accept: text/event-stream`, the stream of what is being written, up to its end.
    """
    return await desk.show(storyboard_id)


@router.head("/v1/storyboards", include_in_schema=False)
@router.get("/v1/storyboards", responses=PAGE_LISTED)
async def list_storyboards(
    request: Request,
    response: Response,
    database: DatabaseDep,
    owner: OwnerDep,
    limit: Annotated[PageLimit, Query()] = 20,
    cursor: PageCursor = None,
) -> StoryboardPage:
    """List storyboards, newest first.

    The next page is also in the `Link` header.
    """
    async with database.read_once() as session:
        page, next_cursor = await repository.list_storyboards(session, owner_id=owner, limit=limit, cursor=cursor)
    link_next_page(request, response, next_cursor)
    return StoryboardPage(data=list(page), has_more=next_cursor is not None, next_cursor=next_cursor)


@router.delete("/v1/storyboards/{storyboard_id}", status_code=204)
async def delete_storyboard(
    state: AppStateDep, database: DatabaseDep, owner: OwnerDep, storyboard_id: StoryboardIdInPath
) -> None:
    """Delete a storyboard.

    Also while it is being written. Jobs that were made from it stay.
    """
    async with database.write(frees_space=True) as uow:
        await repository.delete_storyboard(uow, storyboard_id, owner_id=owner)
    state.storyboards.cancel(storyboard_id)

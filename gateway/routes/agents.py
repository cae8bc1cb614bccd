"""`/agents`: the caller's voice agents. Reads come from memory, writes go to the state database."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler, delete, get, patch, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from core.agent_store import Expected
from core.agents import AgentRecord, VoiceAgent
from core.errors import AgentChanged, AgentExists, InvalidRequest
from gateway.bodies import AnyRequest, caller, etag_of, expected_of, json_body, not_modified
from gateway.edge import Edge
from gateway.errors import ErrorBody
from gateway.messages_agents import (
    AgentBody,
    AgentChange,
    AgentList,
    AgentReply,
    agent_of,
    agent_reply,
    changed,
)

AGENTS_PATH: Final = "/api/v1/voice/agents"
_TRIES: Final = 10
"""Of a change without a condition, when others change the same agent at the same time."""

_agent_body = msgspec.json.Decoder(AgentBody)
_agent_change = msgspec.json.Decoder(AgentChange)

AgentId = Annotated[str, PathParameter(description="The voice agent's id.", max_length=128)]

REFUSED: Final = {
    401: ResponseSpec(ErrorBody, description="No key, or not one of this gateway's"),
    403: ResponseSpec(ErrorBody, description="Without keys: not from this computer"),
}
UNKNOWN: Final = {404: ResponseSpec(ErrorBody, description="No such voice agent")}
WRITING: Final = {
    **REFUSED,
    400: ResponseSpec(ErrorBody, description="The body or a condition is not valid"),
    413: ResponseSpec(ErrorBody, description="The body is too large"),
    415: ResponseSpec(ErrorBody, description="The body is not JSON"),
    503: ResponseSpec(ErrorBody, description="The state database does not answer"),
}
CONFLICT: Final = {409: ResponseSpec(ErrorBody, description="The id is taken, or too many agents")}
CHANGED: Final = {412: ResponseSpec(ErrorBody, description="Not as the condition expects it")}
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"xiApiKey": []}, {}]


def agent_routes(edge: Edge) -> list[HTTPRouteHandler]:
    """Listing, making, reading, changing and deleting agents."""
    common: dict[str, Any] = {
        "guards": [edge.gate.guard],
        "tags": ["Agents"],
        "security": SECURITY,
    }

    @get(
        "/agents",
        operation_id="listAgents",
        summary="The caller's voice agents",
        responses=REFUSED,
        **common,
    )
    async def list_agents(request: AnyRequest) -> AgentList:
        found = edge.runtime.agent_store.snapshot.of(caller(edge, request).tenant)
        agents = [agent_reply(found[agent_id]) for agent_id in sorted(found)]
        return AgentList(agents, len(agents))

    @post(
        "/agents",
        operation_id="createAgent",
        summary="Make a voice agent",
        description="Without an `id` one is made up.",
        responses={**WRITING, **CONFLICT},
        **common,
    )
    async def create_agent(request: AnyRequest) -> Response[AgentReply]:
        body = await json_body(request, _agent_body, edge.settings.gateway.max_body_bytes)
        agent_id = f"agent_{secrets.token_hex(6)}" if body.id is None else body.id
        record, _ = await edge.runtime.agent_store.put(
            caller(edge, request).tenant, agent_of(body, agent_id), "absent"
        )
        return _reply(record, 201)

    @get(
        "/agents/{agent_id:str}",
        operation_id="getAgent",
        summary="A voice agent",
        description="`If-None-Match` is understood.",
        responses={
            **REFUSED,
            **UNKNOWN,
            304: ResponseSpec(None, description="The caller has it", generate_examples=False),
        },
        **common,
    )
    async def get_agent(request: AnyRequest, agent_id: AgentId) -> Response[AgentReply]:
        tenant = caller(edge, request).tenant
        record = edge.runtime.agent_store.snapshot.record(tenant, agent_id)
        if not_modified(request, record.revision):
            return _bare(304, etag_of(record.revision))
        return _reply(record)

    @put(
        "/agents/{agent_id:str}",
        operation_id="putAgent",
        summary="Say all of what a voice agent is",
        description="Makes it where there is none (201). `If-Match` changes only the revision that "
        "was read, as `revision` in the body does; `If-None-Match: *` only makes.",
        responses={
            **WRITING,
            **CONFLICT,
            **CHANGED,
            201: ResponseSpec(AgentReply, description="It was made"),
        },
        **common,
    )
    async def put_agent(request: AnyRequest, agent_id: AgentId) -> Response[AgentReply]:
        expected = expected_of(request)
        body = await json_body(request, _agent_body, edge.settings.gateway.max_body_bytes)
        if body.id is not None and body.id != agent_id:
            raise InvalidRequest("`id` is another than the one in the path.")
        if expected is None and body.revision is not None:
            expected = frozenset({body.revision})
        tenant = caller(edge, request).tenant
        try:
            record, made = await edge.runtime.agent_store.put(
                tenant, agent_of(body, agent_id), expected
            )
        except AgentExists as error:
            # Here it is a condition of the request that does not hold.
            raise AgentChanged("There is a voice agent with that id already.") from error
        return _reply(record, 201 if made else 200)

    @patch(
        "/agents/{agent_id:str}",
        operation_id="changeAgent",
        summary="Change some settings of a voice agent",
        description="What is left out stays as it is. `If-Match` is understood.",
        responses={**WRITING, **UNKNOWN, **CHANGED},
        **common,
    )
    async def change_agent(request: AnyRequest, agent_id: AgentId) -> Response[AgentReply]:
        expected = expected_of(request)
        if expected == "absent":
            raise InvalidRequest("What is not there cannot be changed; use PUT.")
        change = await json_body(request, _agent_change, edge.settings.gateway.max_body_bytes)
        tenant = caller(edge, request).tenant
        return _reply(await _change(edge, tenant, agent_id, change, expected))

    @delete(
        "/agents/{agent_id:str}",
        operation_id="deleteAgent",
        summary="Delete a voice agent and its phrases",
        description="`If-Match` is understood.",
        status_code=204,
        responses={
            **REFUSED,
            **UNKNOWN,
            **CHANGED,
            503: WRITING[503],
        },
        **common,
    )
    async def delete_agent(request: AnyRequest, agent_id: AgentId) -> None:
        expected = expected_of(request)
        await edge.runtime.agent_store.delete(caller(edge, request).tenant, agent_id, expected)

    return [list_agents, create_agent, get_agent, put_agent, change_agent, delete_agent]


async def _change(
    edge: Edge, tenant: str, agent_id: str, change: AgentChange, expected: Expected
) -> AgentRecord:
    store = edge.runtime.agent_store
    tries = _TRIES
    while True:
        tries -= 1
        await store.refresh(tenant)
        known = store.snapshot.record(tenant, agent_id)
        if isinstance(expected, frozenset) and known.revision not in expected:
            raise AgentChanged()
        agent: VoiceAgent = changed(known.agent, change)
        try:
            return (await store.put(tenant, agent, frozenset({known.revision})))[0]
        except AgentChanged:
            # Somebody was quicker; a caller without a condition need not know.
            if not tries or isinstance(expected, frozenset):
                raise


def _reply(record: AgentRecord, status: int = 200) -> Response[AgentReply]:
    headers = {"etag": etag_of(record.revision), "cache-control": "no-store"}
    if status == 201:
        headers["location"] = f"{AGENTS_PATH}/{record.agent.id}"
    return Response(agent_reply(record), status_code=status, headers=headers)


def _bare(status: int, etag: str) -> Response[Any]:
    return Response(b"", status_code=status, headers={"etag": etag, "cache-control": "no-store"})

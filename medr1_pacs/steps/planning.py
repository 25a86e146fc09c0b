"""route -> select -> prompts: what is asked about a complete study.

`build_plan` decides and touches nothing; `plan_study` reads one study and writes its plan.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from medr1_pacs.db.plans import record_plan
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import fail_study, find_due_plan
from medr1_pacs.prompts import build_prompt_text, permute_options
from medr1_pacs.questions.bank import QuestionBank, questions_for
from medr1_pacs.questions.conditions import facts_of, first_unmet
from medr1_pacs.questions.schema import Question, requested_checkpoint
from medr1_pacs.questions.truths import truth_of
from medr1_pacs.questions.windows import second_window_request, window_request
from medr1_pacs.records import (
    FrameChoice,
    InstanceFacts,
    JsonObject,
    PlannedPrompt,
    PlannedQuestion,
    QuestionIdentity,
    Route,
    SeriesFacts,
    StudyFacts,
    StudyPlan,
    VoiWindow,
    WindowRequest,
)
from medr1_pacs.rendering import recipe_of
from medr1_pacs.routing import Synonyms, route_series
from medr1_pacs.selection import parse_policy, select

logger = logging.getLogger(__name__)

MAX_NEW_TOKENS = 256
MAX_PIXELS = 401_408
"""Both as the authors of Med-R1 trained and evaluated; our pictures are below it (153,664)."""


@dataclass(frozen=True, slots=True)
class AskingPolicy:
    """Everything but the study that decides what is asked."""

    bank: QuestionBank
    synonyms: Synonyms
    resolve_checkpoint: Callable[[str], str]
    """Requested -> answering checkpoint; the demo's while it stands in."""
    is_demo: bool
    think: bool


def plan_study(database: Database, policy: AskingPolicy) -> bool:
    """Plan the oldest complete study without a plan; False when there is none."""
    with database.read() as session:
        study = find_due_plan(session)
    if study is None:
        return False
    try:
        plan = build_plan(study, policy)
    except Exception as error:
        # One study that cannot be planned must not hold up the others.
        logger.exception("a study cannot be planned", extra={"study_id": study.study_id})
        with database.write() as session:
            fail_study(session, study.study_id, f"it cannot be planned: {error!r}")
        return True
    with database.write() as session:
        record_plan(session, study, plan, datetime.now(UTC))
    return True


def build_plan(study: StudyFacts, policy: AskingPolicy) -> StudyPlan:
    """Decide what is asked about each series of a study, and say why the rest is not."""
    routes = {
        series.series_id: route_series(
            [instance.attributes for instance in series.instances], policy.synonyms
        )
        for series in study.series
    }
    planned = tuple(
        _plan_question(question, series, routes[series.series_id], policy)
        for series in study.series
        for question in _questions(routes[series.series_id], policy)
    )
    reason = "" if any(item.prompts for item in planned) else _why_nothing(routes, planned)
    return StudyPlan(routes, planned, reason)


def _questions(route: Route, policy: AskingPolicy) -> tuple[Question, ...]:
    if route.modality is None:
        return ()
    return questions_for(policy.bank, route.modality, demo=policy.is_demo)


def _plan_question(
    question: Question, series: SeriesFacts, route: Route, policy: AskingPolicy
) -> PlannedQuestion:
    identity = QuestionIdentity(
        question_id=question.id,
        version=question.version,
        question_sha256=question.question_sha256,
        modality=question.modality,
        task=question.task,
        role=question.role,
        definition=question.definition(),
    )
    unmet = {
        instance.instance_id: first_unmet(question.when, facts_of(instance.attributes, route))
        for instance in series.instances
    }
    askable = [item for item in series.instances if unmet[item.instance_id] is None]
    excluded = Counter(
        {
            reason: sum(
                item.number_of_frames
                for item in series.instances
                if unmet[item.instance_id] == reason
            )
            for reason in set(unmet.values())
            if reason is not None
        }
    )
    if not askable:
        reason = excluded.most_common(1)[0][0]
        return PlannedQuestion(identity, series.series_id, reason, excluded, ())
    selection = select(parse_policy(question.select), askable)
    by_id = {instance.instance_id: instance for instance in askable}
    prompts = tuple(
        prompt
        for choice in selection.chosen
        for prompt in _plan_prompts(question, choice, by_id[choice.instance_id], route, policy)
    )
    skipped = excluded + Counter(selection.skipped)
    return PlannedQuestion(identity, series.series_id, selection.reason, skipped, prompts)


def _plan_prompts(
    question: Question,
    choice: FrameChoice,
    instance: InstanceFacts,
    route: Route,
    policy: AskingPolicy,
) -> Iterator[PlannedPrompt]:
    order = permute_options(
        question.id, question.version, choice.sop_instance_uid, len(question.options)
    )
    options = tuple(question.options[index] for index in order)
    think = policy.think and question.think
    prompt_text = build_prompt_text(question.stem, options, think=think)
    requested = requested_checkpoint(question)
    truth = truth_of(question, instance.attributes, route)
    for request in _window_requests(question, route):
        yield PlannedPrompt(
            instance_id=choice.instance_id,
            frame_number=choice.frame_number,
            recipe=recipe_of(request),
            window_request=window_request_to_json(request),
            requested_checkpoint=requested,
            checkpoint=policy.resolve_checkpoint(requested),
            coverage=route.coverage or question.coverage,
            options=options,
            option_order=order,
            prompt_text=prompt_text,
            prompt_sha256=hashlib.sha256(prompt_text.encode()).hexdigest(),
            decoding={
                "think": think,
                "max_new_tokens": MAX_NEW_TOKENS,
                "do_sample": False,
                "max_pixels": MAX_PIXELS,
            },
            truth=truth[0] if truth else None,
            truth_source=truth[1] if truth else None,
        )


def _window_requests(question: Question, route: Route) -> Iterator[WindowRequest]:
    yield window_request(question, route)
    if (second := second_window_request(question)) is not None:
        yield second


def _why_nothing(routes: dict[int, Route], planned: tuple[PlannedQuestion, ...]) -> str:
    unrouted = [route.reason for route in routes.values() if route.modality is None]
    routed = sorted({str(route.modality) for route in routes.values() if route.modality})
    reasons = list(dict.fromkeys(unrouted))
    if routed and planned:
        reasons.append(f"no question for {', '.join(routed)} applies: {planned[0].reason}")
    elif routed:
        reasons.append(f"the bank has no question for {', '.join(routed)}")
    return "; ".join(reasons) or "the study has no instance"


def window_request_to_json(request: WindowRequest) -> JsonObject:
    """Return a request as it is stored with its rendering."""

    def window(value: VoiWindow | None) -> list[float] | None:
        return [value.center, value.width] if value else None

    return {
        "preset": window(request.preset),
        "preset_name": request.preset_name,
        "fallback": window(request.fallback),
        "fallback_name": request.fallback_name,
    }


def window_request_from_json(stored: JsonObject) -> WindowRequest:
    """Return the request that `window_request_to_json` stored."""

    def window(value: list[float] | None) -> VoiWindow | None:
        return VoiWindow(*value) if value else None

    return WindowRequest(
        preset=window(stored["preset"]),
        preset_name=stored["preset_name"],
        fallback=window(stored["fallback"]),
        fallback_name=stored["fallback_name"],
    )

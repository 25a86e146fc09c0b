"""ask: what is asked about a complete study, and why the rest is not.

    StudyFacts -> route -> questions -> select -> window, options, truth -> StudyPlan

What an earlier version of the study asked stays asked: the same frame is not asked again, however
bank, renderer or decoding have changed since. What a late instance adds is asked as the study was
asked before: in the same words, through the same presets, with the same decoding. Only another
checkpoint is another question; and what the bank no longer holds is not asked of what is new.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from medr1_pacs.prompts import build_prompt_text, permute_options
from medr1_pacs.questions.bank import QuestionBank, questions_for, restore_question
from medr1_pacs.questions.conditions import facts_of, first_unmet
from medr1_pacs.questions.schema import Question, requested_checkpoint
from medr1_pacs.questions.truths import truth_of
from medr1_pacs.questions.windows import window_request
from medr1_pacs.records.planned import (
    AskedPrompt,
    Decoding,
    FrameChoice,
    InstanceFacts,
    KnownTruth,
    PlannedPrompt,
    PlannedQuestion,
    QuestionIdentity,
    Route,
    SeriesFacts,
    StudyFacts,
    StudyPlan,
    WindowRequest,
)
from medr1_pacs.rendering import recipe_of
from medr1_pacs.routing.series import route_series
from medr1_pacs.routing.synonyms import Synonyms
from medr1_pacs.selection import select

logger = logging.getLogger(__name__)

MAX_NEW_TOKENS = 256
"""As the authors of Med-R1 evaluated."""


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Everything but the study that decides what is asked."""

    bank: QuestionBank
    synonyms: Synonyms
    resolve_checkpoint: Callable[[str], str]
    """Requested -> answering checkpoint; the demo's while it stands in."""
    is_demo: bool
    think: bool


def build_plan(study: StudyFacts, questionnaire: Questionnaire) -> StudyPlan:
    """Decide what is asked about each series of a study, and say why the rest is not."""
    routes = {
        series.series_id: route_series(
            [instance.attributes for instance in series.instances], questionnaire.synonyms
        )
        for series in study.series
    }
    earlier = _Earlier(study.asked)
    planned = tuple(
        _plan_question(
            earlier.wording_of(question), series, routes[series.series_id], questionnaire, earlier
        )
        for series in study.series
        for question in _questions(routes[series.series_id], questionnaire)
    )
    plan = StudyPlan(routes, planned, "")
    return plan if plan.asks else replace(plan, reason=_why_nothing(plan))


class _Earlier:
    """What earlier versions of the study asked, and how."""

    def __init__(self, asked: tuple[AskedPrompt, ...]) -> None:
        self._by_key = {_key(prompt.question.question_id, prompt): prompt for prompt in asked}
        self._latest = {prompt.question.question_id: prompt for prompt in asked}
        self._presets = {
            (prompt.question.question_id, prompt.window_request.preset_name): prompt.window_request
            for prompt in asked
            if prompt.window_request.preset is not None
        }

    def find(self, prompt: PlannedPrompt, question: Question) -> AskedPrompt | None:
        """Return the prompt that asked this already."""
        return self._by_key.get(_key(question.id, prompt))

    def wording_of(self, question: Question) -> Question:
        """Return a question as the study was asked it before; as it is, where it was not."""
        before = self._latest.get(question.id)
        if before is None or before.question.question_sha256 == question.question_sha256:
            return question
        try:
            return restore_question(before.question.definition)
        except ValueError as error:
            logger.warning(
                "%s version %d can be asked no more, its new version is asked of what is new: %s",
                question.id,
                before.question.version,
                error,
            )
            return question

    def window_of(self, question: Question, request: WindowRequest) -> WindowRequest:
        """Return a preset with the values that it had when the study was asked before."""
        return self._presets.get((question.id, request.preset_name), request)

    def decoding_of(self, question: Question, decoding: Decoding) -> Decoding:
        """Return how the study was asked this question before."""
        before = self._latest.get(question.id)
        return decoding if before is None else before.decoding


def _key(question_id: str, prompt: AskedPrompt | PlannedPrompt) -> tuple[object, ...]:
    """Say what makes two prompts the same: not words or recipe, but what they are about."""
    return (
        question_id,
        prompt.instance_id,
        prompt.frame_number,
        prompt.window_request.preset_name,
        prompt.checkpoint,
    )


def _questions(route: Route, questionnaire: Questionnaire) -> tuple[Question, ...]:
    if route.modality is None:
        return ()
    return questions_for(questionnaire.bank, route.modality, demo=questionnaire.is_demo)


def _plan_question(
    question: Question,
    series: SeriesFacts,
    route: Route,
    questionnaire: Questionnaire,
    earlier: _Earlier,
) -> PlannedQuestion:
    identity = _identity_of(question)
    askable, excluded = _apply_conditions(question, series, route)
    if not askable:
        reason = excluded.most_common(1)[0][0]
        return PlannedQuestion(identity, series.series_id, reason, excluded)
    selection = select(question.select, askable)
    prompts, kept = [], []
    for prompt in _plan_prompts(question, selection.chosen, route, questionnaire, earlier):
        if before := earlier.find(prompt, question):
            kept.append(before)
        else:
            prompts.append(prompt)
    return PlannedQuestion(
        identity,
        series.series_id,
        selection.reason,
        excluded + Counter(selection.skipped),
        tuple(prompts),
        tuple(kept),
        tuple(_truths(question, identity, kept, selection.chosen, askable, route)),
    )


def _identity_of(question: Question) -> QuestionIdentity:
    return QuestionIdentity(
        question_id=question.id,
        version=question.version,
        question_sha256=question.question_sha256,
        modality=question.modality,
        task=question.task,
        role=question.role,
        definition=question.definition(),
    )


def _apply_conditions(
    question: Question, series: SeriesFacts, route: Route
) -> tuple[list[InstanceFacts], Counter[str]]:
    """Return the instances that may be asked about, and reason -> frames of the others."""
    askable, excluded = [], Counter[str]()
    for instance in series.instances:
        reason = first_unmet(question.when, facts_of(instance.attributes, route))
        if reason is None:
            askable.append(instance)
        else:
            excluded[reason] += instance.number_of_frames
    return askable, excluded


def _plan_prompts(
    question: Question,
    chosen: Iterable[FrameChoice],
    route: Route,
    questionnaire: Questionnaire,
    earlier: _Earlier,
) -> Iterator[PlannedPrompt]:
    """Put a question to every chosen frame, through each of its windows."""
    requested = requested_checkpoint(question)
    decoding = earlier.decoding_of(
        question, Decoding(questionnaire.think and question.think, MAX_NEW_TOKENS)
    )
    requests = [
        earlier.window_of(question, request) for request in _window_requests(question, route)
    ]
    for choice, request in product(chosen, requests):
        order = permute_options(
            question.id, question.version, choice.sop_instance_uid, len(question.options)
        )
        options = tuple(question.options[index] for index in order)
        prompt_text = build_prompt_text(question.stem, options, think=decoding.think)
        yield PlannedPrompt(
            instance_id=choice.instance_id,
            frame_number=choice.frame_number,
            recipe=recipe_of(request),
            window_request=request,
            requested_checkpoint=requested,
            checkpoint=questionnaire.resolve_checkpoint(requested),
            coverage=route.coverage or question.coverage,
            options=options,
            option_order=order,
            prompt_text=prompt_text,
            prompt_sha256=hashlib.sha256(prompt_text.encode()).hexdigest(),
            decoding=decoding,
        )


def _window_requests(question: Question, route: Route) -> list[WindowRequest]:
    """Return one request a window; two that are equal are one."""
    windows = [question.window, *([question.second_window] if question.second_window else [])]
    requests = (window_request(window, question.modality, route) for window in windows)
    return list(dict.fromkeys(requests))


def _truths(
    question: Question,
    identity: QuestionIdentity,
    kept: Iterable[AskedPrompt],
    chosen: Iterable[FrameChoice],
    askable: Iterable[InstanceFacts],
    route: Route,
) -> Iterator[KnownTruth]:
    """Say what the header knows about the chosen instances, under the wording that they met."""
    wordings = {prompt.instance_id: prompt.question for prompt in kept}
    attributes = {instance.instance_id: instance.attributes for instance in askable}
    for instance_id in dict.fromkeys(choice.instance_id for choice in chosen):
        if known := truth_of(question, attributes[instance_id], route):
            yield KnownTruth(wordings.get(instance_id, identity), instance_id, *known)


def _why_nothing(plan: StudyPlan) -> str:
    unrouted = [route.reason for route in plan.routes.values() if route.modality is None]
    routed = sorted({str(route.modality) for route in plan.routes.values() if route.modality})
    reasons = list(dict.fromkeys(unrouted))
    if routed and plan.questions:
        reasons.append(f"no question for {', '.join(routed)} applies: {plan.questions[0].reason}")
    elif routed:
        reasons.append(f"the bank has no question for {', '.join(routed)}")
    return "; ".join(reasons) or "the study has no instance"

"""Every sentence that the assistant's part in the lab says, in Dutch and English."""

from __future__ import annotations

from leerlab_lab.assistant.door import Refused, Spent, Why
from leerlab_lab.assistant.offer import Offer

NAME = {"nl": "Assistent", "en": "Assistant"}
WELCOME = {
    "nl": "Stel je vraag. Ik ben een klein taalmodel en heb het vaak mis. Mijn Nederlands is slecht; Engels gaat "
    "beter. Controleer wat ik zeg.",
    "en": "Ask your question. I am a small language model and often wrong. My Dutch is poor; English works better. "
    "Check what I say.",
}
SYSTEM = {
    "nl": "Je bent een hulp bij het leren over data, Python en AI. Antwoord kort en eenvoudig, in het Nederlands. "
    "Zeg het als je iets niet weet.",
    "en": "You help somebody who learns about data, Python and AI. Answer briefly and simply, in English. "
    "Say so when you do not know.",
}
CHECK = {"nl": "Klein model: controleer het antwoord.", "en": "Small model: check the answer."}
STOPPED = {"nl": "Gestopt.", "en": "Stopped."}
EMPTY = {"nl": "Het model gaf geen antwoord. Stel je vraag anders.", "en": "The model gave no answer. Ask differently."}
NO_EVAL = {
    "nl": "`--eval` werkt hier niet. Zet de uitkomst in een variabele en schrijf die als {variabele} in je vraag.",
    "en": "`--eval` does not work here. Put the result in a variable and write it as {variable} in your question.",
}
NO_MODEL = {
    "nl": "Het model {model} is hier niet. Je kunt kiezen uit: {models}.",
    "en": "There is no model {model} here. You can choose from: {models}.",
}
MODELS = {"nl": "Modellen die je hier kunt vragen:\n", "en": "Models that you can ask here:\n"}
FORGOTTEN = {"nl": "De eerdere vragen gaan niet meer mee.", "en": "Earlier questions no longer go along."}
NO_ERROR = {"nl": "Er is nog geen fout geweest.", "en": "There has been no error yet."}
EXPLAIN = {
    "nl": "Leg deze foutmelding van Python uit en zeg hoe ik haar oplos:\n{error}",
    "en": "Explain this Python error and say how I mend it:\n{error}",
}
INSERTED = {
    "nl": "De code staat in de cel hieronder. Lees haar eerst; ze is misschien fout.",
    "en": "The code is in the cell below. Read it first; it may be wrong.",
}
NO_JSON = {"nl": "Het antwoord is geen JSON.", "en": "The answer is not JSON."}
NO_SUCH = {
    "nl": "`%ai {command}` is er hier niet. Wel: `%ai list`, `%ai fix`, `%ai reset`, `%ai --help`.",
    "en": "There is no `%ai {command}` here. There are `%ai list`, `%ai fix`, `%ai reset`, `%ai --help`.",
}
OFF = {"nl": "De assistent staat hier uit.", "en": "The assistant is off here."}
OFF_FOR = {"nl": "De assistent staat uit, vanwege {because}.", "en": "The assistant is off, because of {because}."}
REFUSED = {
    Why.OFF: OFF,
    Why.BUDGET: {
        "nl": "Je tokens voor dit uur zijn op. Probeer het later opnieuw.",
        "en": "Your tokens for this hour are used up. Try again later.",
    },
    Why.BUSY: {
        "nl": "Er staat nog een vraag van je open. Wacht op dat antwoord.",
        "en": "Another question of yours is still open. Wait for that answer.",
    },
    Why.STARTING: {
        "nl": "Het model start nog. Probeer het over een minuut opnieuw.",
        "en": "The model is still starting. Try again in a minute.",
    },
    Why.UNREACHABLE: {
        "nl": "De assistent is nu niet bereikbaar. Probeer het straks opnieuw; blijft het zo, vraag je docent.",
        "en": "The assistant cannot be reached now. Try again soon; if it stays so, ask your teacher.",
    },
    Why.BROKEN: {
        "nl": "Het antwoord brak af. Wat hierboven staat, is niet volledig.",
        "en": "The answer broke off. What stands above is not complete.",
    },
    Why.OTHER: {"nl": "De assistent weigerde deze vraag.", "en": "The assistant refused this question."},
}
WAITING = {"nl": "Het model start. Je vraag blijft staan.", "en": "The model is starting. Your question is kept."}


def off(offer: Offer, language: str) -> str:
    """Why there is no assistant in this lab, in one sentence."""
    because = offer.because.get(language)
    return OFF_FOR[language].format(because=because) if because else OFF[language]


def refusal(refused: Refused, language: str) -> str:
    """What a refusal means, with the gateway's own reason where it gave one."""
    sentence = REFUSED[refused.why][language]
    return f"{sentence} ({refused.said})" if refused.said else sentence


def number(value: float, language: str) -> str:
    """A number as people of the language write it."""
    text = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return text if language == "en" else text.translate(str.maketrans(",.", ".,"))


def footer(spent: Spent, offer: Offer, model: str, language: str) -> str:
    """The quiet line under an answer: model, tokens, energy and the policy in force."""
    parts = [model, f"{number(spent.tokens, language)} tokens"]
    if spent.joules is None:
        parts.append({"nl": "energie onbekend", "en": "energy unknown"}[language])
    elif spent.measured:
        parts.append(f"{number(spent.joules, language)} J")
    else:
        parts.append({"nl": "ongeveer ", "en": "about "}[language] + f"{number(spent.joules, language)} J")
    if offer.tokens_per_hour:
        most = number(offer.tokens_per_hour, language)
        parts.append({"nl": f"hoogstens {most} tokens per uur", "en": f"at most {most} tokens an hour"}[language])
    return " · ".join(parts) + ". " + CHECK[language]

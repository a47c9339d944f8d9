"""Cases, the table of answers and the decision tree of the assignment: what the learner looks at, never what is graded.

Source of the questions and their order: Regulation (EU) 2024/1689 (AI Act), articles 3(1), 5, 6, 50, annexes I and III.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

import ipywidgets as widgets
from IPython.display import HTML, display
from leerlab_lab.lesson import say

VERBODEN, HOOG, BEPERKT, MINIMAAL = "verboden", "hoog", "beperkt", "minimaal"
PROHIBITED, HIGH, LIMITED, MINIMAL = VERBODEN, HOOG, BEPERKT, MINIMAAL
CLASSES = (VERBODEN, HOOG, BEPERKT, MINIMAAL)


@dataclass(frozen=True)
class Case:
    """A case to classify.

    Args:
        name: what answers call it.
        nl: what it is, in Dutch.
        en: in English.
    """

    name: str
    nl: str
    en: str


CASES = (
    Case("sollicitatie", "Een ziekenhuis in Groningen laat een programma sollicitanten rangschikken. P&O nodigt de bovenste tien uit.",
         "A hospital in Groningen has a program rank applicants. HR invites the top ten."),
    Case("gezichten", "Een klantenservice in Leeuwarden laat de webcam meten of medewerkers gespannen of blij zijn.",
         "A customer service in Leeuwarden has the webcam measure whether its staff are tense or happy."),
    Case("afval", "Op de site van een gemeente beantwoordt een chatbot vragen over de afvalkalender.",
         "On a municipality's site a chatbot answers questions about the waste calendar."),
    Case("spam", "De mail van een installatiebedrijf in Emmen wordt door een lerend filter op spam gecontroleerd.",
         "The mail of an installation company in Emmen is checked for spam by a filter that learns."),
    Case("vulmachine", "Een zuivelfabriek voorspelt wanneer een vulmachine onderhoud nodig heeft. Het programma stuurt niets aan.",
         "A dairy predicts when a filling machine needs maintenance. The program controls nothing."),
    Case("bijstand", "Een gemeente laat een programma aanvragen voor bijstand een fraudescore geven. Een medewerker bekijkt de hoogste scores.",
         "A municipality has a program give requests for social assistance a fraud score. A member of staff looks at the highest scores."),
    Case("koeien", "Een melkveehouder in Friesland laat een camera kreupele koeien herkennen.",
         "A dairy farmer in Fryslân has a camera recognise lame cows."),
    Case("toelating", "Een opleiding laat een programma bepalen welke studenten worden toegelaten.",
         "A school has a program determine which students are admitted."),
    Case("reclame", "Een reclamebureau maakt met AI foto's van mensen die niet bestaan, voor een folder.",
         "An advertising agency makes pictures of people who do not exist with AI, for a leaflet."),
    Case("punten", "Inwoners krijgen punten voor hun gedrag op straat en online. Wie laag scoort, wacht langer op een huis.",
         "Inhabitants get points for their behaviour in the street and online. Who scores low waits longer for a house."),
)  # fmt: skip


def toon_gevallen(names=None):
    """Show the cases as a table.

    Args:
        names: only these; all without it.
    """
    rows = "".join(
        f"<tr><td><code>{case.name}</code></td><td style='text-align:left'>{html.escape(say(case.nl, case.en))}</td></tr>"
        for case in CASES
        if names is None or case.name in names
    )
    head = f"<tr><th>{say('naam', 'name')}</th><th style='text-align:left'>{say('wat er gebeurt', 'what happens')}</th></tr>"
    display(HTML(f"<table>{head}{rows}</table>"))


show_cases = toon_gevallen


@dataclass(frozen=True)
class Question:
    """One question of the tree.

    Args:
        nl: the question in Dutch.
        en: in English.
        article: where it stands.
        outcome: the class when the answer is `when`; empty when the tree goes on either way.
        when: the answer that ends the tree here.
    """

    nl: str
    en: str
    article: str
    outcome: str
    when: bool


QUESTIONS = (
    Question("Leidt het zelf iets af uit gegevens (leren of redeneren), in plaats van alleen vaste regels te volgen?",
             "Does it infer something from data by itself (learning or reasoning), instead of following fixed rules only?",
             "3(1)", "geen", False),
    Question("Manipuleert het mensen, geeft het ze een sociale score, of leest het emoties op het werk of op school?",
             "Does it manipulate people, give them a social score, or read emotions at work or at school?",
             "5", VERBODEN, True),
    Question("Is het een veiligheidsonderdeel van een product met eigen regels, zoals een machine of medisch hulpmiddel?",
             "Is it a safety part of a product with rules of its own, such as a machine or a medical device?",
             "6(1), bijlage/annex I", HOOG, True),
    Question("Beslist het over mensen, of bereidt het dat voor: werk, onderwijs, krediet, uitkering, zorg, recht, migratie, vitale voorzieningen?",
             "Does it decide about people, or prepare that: work, education, credit, benefits, care, justice, migration, vital services?",
             "6(2), bijlage/annex III", HOOG, True),
    Question("Praat het met mensen, of maakt het tekst, beeld, geluid of film?",
             "Does it talk with people, or make text, pictures, sound or film?",
             "50", BEPERKT, True),
)  # fmt: skip


def klasse_van(answers):
    """Where the answers lead: the class (or `geen`), and the number of the question that decided (from 0).

    Args:
        answers: for each question in order whether the answer is yes.
    """
    for number, (question, yes) in enumerate(zip(QUESTIONS, answers, strict=True)):
        if yes is question.when:
            return question.outcome, number
    return MINIMAAL, len(QUESTIONS)


def in_words(outcome, number):
    """What the tree says, in a sentence."""
    names = {
        "geen": say("Dit is geen AI-systeem volgens de verordening.", "This is no AI system under the regulation."),
        VERBODEN: say("Verboden: dit mag niet.", "Prohibited: this is not allowed."),
        HOOG: say("Hoog risico: het mag, maar alleen met zware eisen.", "High risk: allowed, but only under heavy requirements."),
        BEPERKT: say("Beperkt risico: zeg eerlijk dat het AI is.", "Limited risk: say honestly that it is AI."),
        MINIMAAL: say("Minimaal risico: geen extra eisen uit de AI-verordening.", "Minimal risk: no extra requirements from the AI Act."),
    }  # fmt: skip
    if number == len(QUESTIONS):
        return say(f"{names[outcome]} Geen enkele vraag hield het tegen.", f"{names[outcome]} No question stopped it.")
    article = QUESTIONS[number].article
    return say(
        f"{names[outcome]} Vraag {number + 1} besliste (artikel {article}).",
        f"{names[outcome]} Question {number + 1} decided (article {article}).",
    )


def verken_boom():
    """The explorable: five questions with a choice of yes or no, and in words where they lead.

    Works with a keyboard (Tab to a question, arrow keys to choose); the words are announced by a screen reader. Returns
    the widget.
    """
    yes, no = say("ja", "yes"), say("nee", "no")
    choices, labels = [], []
    for number, question in enumerate(QUESTIONS):
        text = f"{number + 1}. {say(question.nl, question.en)}"
        labels.append(widgets.HTML(html.escape(text), layout={"width": "75%"}))
        choices.append(
            widgets.Dropdown(
                options=[(no, False), (yes, True)],
                value=number == 0,
                description=f"{say('vraag', 'question')} {number + 1}:",
                tooltip=text,
                style={"description_width": "initial"},
                layout={"width": "170px"},
            )
        )
    words = widgets.HTML()

    def decide(_=None):
        outcome, number = klasse_van([choice.value for choice in choices])
        for place, label in enumerate(labels):
            text = html.escape(f"{place + 1}. {say(QUESTIONS[place].nl, QUESTIONS[place].en)}")
            after = place > number
            label.value = f"<span style='opacity:{0.55 if after else 1}'>{'<strong>' if place == number else ''}{text}{'</strong>' if place == number else ''}</span>"
        words.value = f'<p role="status" style="font-size:1.1em;line-height:1.5"><strong>→</strong> {html.escape(in_words(outcome, number))}</p>'

    for choice in choices:
        choice.observe(decide, names="value")
    decide()
    rows = [widgets.HBox([label, choice]) for label, choice in zip(labels, choices, strict=True)]
    return widgets.VBox([*rows, words])


explore_tree = verken_boom

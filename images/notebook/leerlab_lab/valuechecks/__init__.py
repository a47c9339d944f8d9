"""Value checks: untrusted code is asked for values, and a trusted process compares them (docs/decisions/0010).

`reading` takes a test cell apart without running it, `asking` evaluates its questions beside the student's code,
`plain` is how an answer travels, `expectation` compares, `sentences` says what is wrong, and `marking` is what
nbgrader's steps call. What a teacher writes is `leerlab_lab.checks.check`.
"""

"""nbgrader made safe: the exchange between students and teachers, and graded notebooks run behind the wall."""

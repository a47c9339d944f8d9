"""What of Leerlab runs inside the wall: nbgrader's exchange over HTTP, the course's formgrader, graded execution."""

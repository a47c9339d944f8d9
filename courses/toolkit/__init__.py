"""What proves a course: `leerlab course check` and `leerlab course new`."""

"""Start a course's server: `python -m leerlab_lab.formgrader`."""

from leerlab_lab.formgrader import CourseSingleUser

if __name__ == "__main__":
    CourseSingleUser.launch_instance()

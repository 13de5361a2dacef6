"""`python -m agent_runner` is `agent-runner`."""

from agent_runner.surfaces.cli import main

if __name__ == "__main__":
    main()

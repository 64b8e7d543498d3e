"""Who may call, how often, and over what wire; beside the core, which only asks `Gate.admit` whose call it is."""

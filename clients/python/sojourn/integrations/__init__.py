"""Agent stacks, a module each; `import sojourn` imports none of them. Each needs its own extra: `sojourn[litellm]`."""

"""The lesson: folds the journal into the policy, one episode at a time, and publishes snapshots."""

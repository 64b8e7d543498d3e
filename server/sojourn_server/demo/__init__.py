"""The main job on real input: live BabyAI episodes whose turns are served by scripted models.

The environment (`minigrid`) and its expert bot are third-party. The models, their weaknesses and their token counts
are ours, made up to try the router on; nothing here says anything about a real model.
"""

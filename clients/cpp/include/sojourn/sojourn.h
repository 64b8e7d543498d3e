// Which LLM serves the next turn of an agent's episode? README.md begins with a first decision.
#pragma once

#include <sojourn/client.h>
#include <sojourn/decision.h>
#include <sojourn/episode.h>
#include <sojourn/errors.h>
#include <sojourn/reports.h>

package krserve

import (
	_ "github.com/krserve/krserve/internal/backend/cpu"       // registers "cpu" where cgo is
	_ "github.com/krserve/krserve/internal/backend/reference" // registers "reference"
)

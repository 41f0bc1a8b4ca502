package krserve

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/krserve/krserve/internal/hub"
)

// Pull fetches a named model, if the cache lacks it, and returns its path. Names are those of Config.Model. Without
// network access, or when Hub.Offline is set, it only looks in the cache.
func Pull(ctx context.Context, name string, h Hub) (string, error) {
	return locate(ctx, name, h, true)
}

// resolve turns Config.Model into a path.
func resolve(ctx context.Context, c *Config) (string, error) {
	if _, err := os.Stat(c.Model); err == nil {
		return c.Model, nil
	} else if !hub.IsName(c.Model) {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return locate(ctx, c.Model, c.Hub, c.Fetch)
}

func locate(ctx context.Context, name string, h Hub, fetch bool) (string, error) {
	o := hub.Options{Endpoint: h.Endpoint, Token: h.Token, CacheDir: h.CacheDir, Offline: h.Offline || !fetch, Progress: h.Progress}
	path, err := hub.Fetch(ctx, name, o)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, hub.ErrNotCached), errors.Is(err, hub.ErrNotFound), errors.Is(err, hub.ErrName):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, hub.ErrChecksum):
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	case errors.Is(err, hub.ErrTransfer), errors.Is(err, hub.ErrDenied):
		err = fmt.Errorf("%w: %w", ErrFetch, err)
	}
	return "", &Error{Op: "pull", Path: name, Err: err}
}

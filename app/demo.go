package app

type demoCommand struct{}

func (c *demoCommand) Run(r *run) error { return nil }

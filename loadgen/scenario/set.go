package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// replace puts settings (KEY=VALUE) in the place of what the text says. Keys
// of maps are made where they are not there; of lists, entries are counted
// from 0 and must be there.
func replace(text []byte, settings []string) ([]byte, error) {
	if len(settings) == 0 {
		return text, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, oneLine(err)
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the scenario has no keys")
	}
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		var v yaml.Node
		if !ok || key == "" || yaml.Unmarshal([]byte(value), &v) != nil || v.Kind != yaml.DocumentNode {
			return nil, fmt.Errorf("%q is not KEY=VALUE", s)
		}
		if err := put(doc.Content[0], strings.Split(key, "."), v.Content[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return yaml.Marshal(&doc)
}

// put sets the value at a path below n.
func put(n *yaml.Node, path []string, v *yaml.Node) error {
	switch n.Kind {
	case yaml.SequenceNode:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(n.Content) {
			return fmt.Errorf("%q is not one of %d entries, counted from 0", path[0], len(n.Content))
		}
		if len(path) == 1 {
			n.Content[i] = v
			return nil
		}
		return put(n.Content[i], path[1:], v)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != path[0] {
				continue
			}
			if len(path) == 1 {
				n.Content[i+1] = v
				return nil
			}
			return put(n.Content[i+1], path[1:], v)
		}
		child := v
		if len(path) > 1 {
			child = &yaml.Node{Kind: yaml.MappingNode}
			if err := put(child, path[1:], v); err != nil {
				return err
			}
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, child)
		return nil
	}
	return fmt.Errorf("%q is below a plain value", path[0])
}
